//! `github:` What each answer means.

use super::*;

const LIST: &str = "https://api.github.com/users/jason/gists?per_page=100";

fn page(number: usize) -> String {
    match number {
        1 => LIST.into(),
        n => format!("https://api.github.com/user/7/gists?per_page=100&page={n}"),
    }
}

fn gist_url(id: &str) -> String {
    format!("https://api.github.com/gists/{id}")
}

fn gist(id: &str, name: &str) -> Json {
    let raw = format!("https://gist.githubusercontent.com/jason/{id}/raw/{name}");
    json!({
        "id": id, "owner": { "login": "Jason", "id": 7 }, "fork_of": null, "public": true,
        "html_url": format!("https://gist.github.com/jason/{id}"),
        "files": { name: {
            "content": compact("github:jason"), "truncated": false, "raw_url": raw,
        }},
    })
}

fn fillers(count: usize) -> Vec<Json> {
    (0..count).map(|n| gist(&format!("f{n}"), "notes.txt")).collect()
}

/// An account with pages of gists, each of which can be read by its id as well.
fn account(pages: &[Vec<Json>]) -> Recorded {
    let mut recorded = Recorded::default();
    for (n, gists) in (1..).zip(pages) {
        recorded = recorded.json(&page(n), &json!(gists));
        if n < pages.len() {
            let next = format!("<{}>; rel=\"next\", <{}>; rel=\"last\"", page(n + 1), page(99));
            recorded = recorded.header(&page(n), "link", &next);
        }
        for gist in gists {
            recorded = recorded.json(&gist_url(gist["id"].as_str().unwrap()), gist);
        }
    }
    recorded
}

fn with(mut gist: Json, change: impl FnOnce(&mut Json)) -> Json {
    change(&mut gist);
    gist
}

/// KEZ-GH-01, KEZ-GH-02, KEZ-GH-03
#[test]
fn lists() {
    let own = || vec![gist("a1", "kez.md")];
    let empty_page = "https://api.github.com/users/jason";
    let user = json!({ "login": "jason", "id": 7 });
    let six: Vec<Vec<Json>> = (0..6).map(|_| fillers(2)).collect();
    let mut last = six.clone();
    last[4].extend(own());
    for (what, answers, wanted) in [
        ("a proof", account(&[own()]), FOUND),
        ("on the last page that is read", account(&last[..5]), FOUND),
        ("and with a page that is not read", account(&last), (1, Some(Code::SearchIncomplete))),
        ("no proof on so many pages", account(&six), failed(Code::SearchIncomplete)),
        ("no proof", account(&six[..5]), ABSENT),
        ("no gist", account(&[vec![]]).json(empty_page, &user), ABSENT),
        (
            "no gist, no user",
            account(&[vec![]]).status(empty_page, 404),
            failed(Code::IdentityNotFound),
        ),
        ("no gist, silence", account(&[vec![]]), failed(Code::ConnectFailed)),
        ("no user", Recorded::default().status(LIST, 404), failed(Code::IdentityNotFound)),
        (
            "a later page fails",
            account(&[fillers(2), own()]).status(&page(2), 502),
            failed(Code::HttpStatus),
        ),
        (
            "and the first has the proof",
            account(&[own(), vec![]]).status(&page(2), 502),
            (1, Some(Code::HttpStatus)),
        ),
        (
            "two owners' proofs",
            account(&[vec![gist("a1", "kez.md"), gist("a2", "kez.json")]]),
            (2, None),
        ),
        (
            "a renamed account",
            account(&[vec![with(gist("a1", "kez.md"), |g| g["owner"]["login"] = json!("other"))]]),
            failed(Code::WrongOwner),
        ),
    ] {
        assert_eq!(answers.shows("github:jason"), wanted, "{what}");
    }
    let finding = account(&[own()]).look_up("github:jason", &[], None).unwrap();
    assert_eq!(finding.account.as_deref(), Some("7"));
}

#[test]
fn single_gists() {
    let other = |id: &str| gist(id, "kez.md");
    let fork = |id: &str| with(other(id), |g| g["fork_of"] = json!({ "id": "x" }));
    let forks =
        |count: usize| -> Vec<Json> { (0..count).map(|n| fork(&format!("b{n}"))).collect() };
    let behind = |mut gists: Vec<Json>| {
        gists.push(other("a1"));
        account(&[gists])
    };
    let limit =
        json!({ "message": "You have exceeded a secondary rate limit.", "documentation_url": "" });
    let two = || account(&[vec![other("a1"), other("a2")]]);
    let (one, first) = (|| account(&[vec![other("a1")]]), gist_url("a1"));
    for (what, answers, wanted) in [
        ("behind forks", behind(forks(40)), (1, Some(Code::GistForked))),
        ("behind more forks than are read", behind(forks(70)), failed(Code::SearchIncomplete)),
        ("only a fork", account(&[forks(1)]), failed(Code::GistForked)),
        (
            "a fork, then a page with the proof",
            account(&[forks(1), vec![other("a1")]]),
            (1, Some(Code::GistForked)),
        ),
        ("deleted meanwhile", one().status(&first, 404), ABSENT),
        ("one of two deleted", two().status(&first, 404), FOUND),
        ("it fails", one().status(&first, 500), failed(Code::HttpStatus)),
        ("it is too large", one().fail(&first, Code::BodyTooLarge), failed(Code::BodyTooLarge)),
        ("one of two fails", two().status(&first, 500), (1, Some(Code::HttpStatus))),
        ("one of two is silent", two().fail(&first, Code::Timeout), (1, Some(Code::Timeout))),
        ("blocked", one().status(&first, 451), failed(Code::HttpStatus)),
        (
            "a limit in words",
            one().http(&first, 403, "application/json", &limit),
            failed(Code::RateLimited),
        ),
        (
            "its own answer names another owner",
            one().json(
                &first,
                &with(other("a1"), |g| g["owner"] = json!({ "login": "mallory", "id": 8 })),
            ),
            failed(Code::WrongOwner),
        ),
    ] {
        assert_eq!(answers.shows("github:jason"), wanted, "{what}");
    }
}

#[test]
fn files() {
    let named = |name: &str| account(&[vec![gist("a1", name)]]);
    for name in ["kez.md", "kez.json", "kez.txt", "Kez.md", "KEZ.JSON"] {
        assert_eq!(named(name).shows("github:jason"), FOUND, "{name}");
    }
    for name in ["kez.md.txt", "kez", "KEZ.markdown", "_kez.md", "kez.txt "] {
        let answer = named(name).look_up("github:jason", &[], None);
        assert!(detail(answer.clone()).contains(name), "{name}");
        assert_eq!(shown(answer), failed(Code::ProofMalformed), "{name}");
    }
    assert_eq!(named("notes.md").shows("github:jason"), ABSENT);
    let misnamed = account(&[vec![gist("a1", "kez.md.txt"), gist("a2", "kez.md")]]);
    assert_eq!(misnamed.shows("github:jason"), (1, Some(Code::ProofMalformed)));
    // A failure says that the answer is open, which outranks a misnamed file.
    assert_eq!(
        misnamed.status(&gist_url("a2"), 500).shows("github:jason"),
        failed(Code::HttpStatus)
    );
    let many = vec![with(gist("a1", "notes.md"), |g| g["truncated"] = json!(true))];
    assert_eq!(account(&[many]).shows("github:jason"), failed(Code::SearchIncomplete));
}

#[test]
fn truncated_files() {
    let raw = "https://gist.githubusercontent.com/jason/a1/raw/kez.md";
    let cut = |url: &str| {
        account(&[vec![with(gist("a1", "kez.md"), |g| {
            g["files"]["kez.md"] = json!({ "truncated": true, "content": "kez", "raw_url": url });
        })]])
    };
    let text = compact("github:jason");
    let there = || cut(raw).http(raw, 200, "text/plain", &text);
    assert_eq!(there().shows("github:jason"), FOUND);
    assert_eq!(there().status(raw, 404).shows("github:jason"), ABSENT);
    assert_eq!(there().status(raw, 503).shows("github:jason"), failed(Code::HttpStatus));
    for url in
        ["https://evil.example/kez.md", "https://gist.githubusercontent.com.evil.example/x", ""]
    {
        let elsewhere = cut(url).http(url, 200, "text/plain", &text);
        assert_eq!(elsewhere.shows("github:jason"), failed(Code::ResponseRefused), "{url}");
        assert!(!elsewhere.asked.borrow().iter().any(|asked| asked == url), "{url}");
    }
}

#[test]
fn limits_in_words() {
    let at =
        |status: u16, body: &Json| Recorded::default().http(LIST, status, "application/json", body);
    let words = json!({ "message": "You have exceeded a secondary rate limit. Please wait." });
    let abuse = json!({ "message": "You have triggered an abuse detection mechanism." });
    let page = json!({ "message": "Slow down", "documentation_url": "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api" });
    for body in [&words, &abuse, &page] {
        assert_eq!(at(403, body).shows("github:jason"), failed(Code::RateLimited), "{body}");
    }
    let denied = json!({ "message": "Repository access blocked", "documentation_url": "https://docs.github.com/" });
    assert_eq!(at(403, &denied).shows("github:jason"), failed(Code::HttpStatus));
    // The time of another limit, whose quota is not used up, is none.
    let reset = at(403, &words).header(LIST, "x-ratelimit-reset", "1795262700");
    let spent = at(403, &words).header(LIST, "x-ratelimit-remaining", "0").header(
        LIST,
        "x-ratelimit-reset",
        "1795262700",
    );
    let retry_at =
        |answers: &Recorded| answers.look_up("github:jason", &[], None).unwrap_err().retry_at;
    let left = reset.header(LIST, "x-ratelimit-remaining", "44");
    assert_eq!(retry_at(&left), None);
    assert_eq!(retry_at(&left.header(LIST, "retry-after", "60")), Some(now().plus(60)));
    assert_eq!(retry_at(&spent), Some(Timestamp::from_seconds(1_795_262_700)));
}

/// Gists that the sigchain names are asked first, and checked like any other.
#[test]
fn hints() {
    let hinted =
        |answers: &Recorded, hint: &str| shown(answers.look_up("github:jason", &[hint], None));
    let pages: Vec<Vec<Json>> = (0..6).map(|_| fillers(2)).collect();
    let beyond = |gist: Json| account(&pages).json(&gist_url("a1"), &gist);
    let own = || gist("a1", "kez.md");
    for hint in [
        "https://gist.github.com/jason/a1",
        "https://gist.github.com/old-name/a1/",
        "https://gist.github.com/a1#file-kez-md",
        "https://api.github.com/gists/a1",
    ] {
        let found = beyond(own());
        assert_eq!(hinted(&found, hint), (1, Some(Code::SearchIncomplete)), "{hint}");
        assert_eq!(found.asked.borrow()[0], gist_url("a1"), "{hint}");
    }
    let hint = "https://gist.github.com/jason/a1";
    let not_found = failed(Code::SearchIncomplete);
    let mallory = with(own(), |g| g["owner"] = json!({ "login": "mallory", "id": 8 }));
    assert_eq!(hinted(&beyond(mallory), hint), not_found, "another owner");
    assert_eq!(
        hinted(&beyond(with(own(), |g| g["public"] = json!(false))), hint),
        not_found,
        "secret"
    );
    assert_eq!(hinted(&account(&pages).status(&gist_url("a1"), 404), hint), not_found, "deleted");
    // The list fails, and the hint has the proof.
    let alone = Recorded::default().json(&gist_url("a1"), &own());
    assert_eq!(hinted(&alone, hint), (1, Some(Code::ConnectFailed)));
    for elsewhere in [
        "https://evil.example/jason/a1",
        "https://gist.github.com/jason/../users",
        "https://api.github.com.evil.example/gists/a1",
    ] {
        let answers = account(&pages[..1]);
        assert_eq!(hinted(&answers, elsewhere), ABSENT, "{elsewhere}");
        assert_eq!(*answers.asked.borrow(), [LIST], "{elsewhere}");
    }
}

#[test]
fn only_the_api_is_asked() {
    let evil = account(&[vec![with(gist("a1", "kez.md"), |g| g["id"] = json!("../users/b"))]]);
    assert_eq!(evil.shows("github:jason"), ABSENT);
    assert_eq!(*evil.asked.borrow(), [LIST]);
    for next in ["https://evil.example/gists", "https://api.github.com.evil.example/gists"] {
        let elsewhere =
            account(&[fillers(1)]).header(LIST, "link", &format!("<{next}>; rel=\"next\""));
        assert_eq!(elsewhere.shows("github:jason"), failed(Code::ResponseRefused), "{next}");
        assert_eq!(*elsewhere.asked.borrow(), [LIST], "{next}");
    }
}
