//! A nostr relay on a free loopback port, for tests: prints its URL and runs until it is killed.

use nostr_relay_builder::MockRelay;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let relay = MockRelay::run().await?;
    println!("{}", relay.url().await);
    std::future::pending::<()>().await;
    Ok(())
}
