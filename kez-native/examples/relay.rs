//! A nostr relay on a free loopback port, for tests: prints its URL and runs until it is killed.

use nostr_relay_builder::{LocalRelay, RelayBuilder, builder::RateLimit};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Public relays slow strangers down; the tests write as fast as they can.
    let limit = RateLimit { notes_per_minute: 1_000_000, ..RateLimit::default() };
    let relay = LocalRelay::new(RelayBuilder::default().rate_limit(limit));
    relay.run().await?;
    println!("{}", relay.url().await);
    std::future::pending::<()>().await;
    Ok(())
}
