//! `stele clock`: whether a running broker trusts the wall clock, and an operator's word that it may (S28).

use crate::args::{Clock, ClockVerb};
use crate::{api, say};
use anyhow::Context as _;
use hyper::Method;
use serde_json::Value;
use std::process::ExitCode;

pub(crate) fn run(args: &Clock) -> anyhow::Result<ExitCode> {
    let (method, path) = match args.verb {
        None => (Method::GET, "/api/clock"),
        Some(ClockVerb::Confirm) => (Method::POST, "/api/clock/confirm"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = api::ask(method, &args.api, path, (&args.user, &args.password));
    let answer =
        runtime.block_on(asked).with_context(|| format!("could not ask the HTTP API at {}", args.api))?;
    say(&text(&answer, args.verb.is_some()))?;
    Ok(ExitCode::SUCCESS)
}

fn text(answer: &Value, confirmed: bool) -> String {
    let jumped_s = answer["jumped_s"].as_i64().unwrap_or(0);
    match (answer["trusted"] == true, confirmed) {
        (true, false) => "the wall clock is trusted\n".to_owned(),
        (true, true) => "the wall clock is trusted; there was nothing to confirm\n".to_owned(),
        (false, false) => format!(
            "the wall clock has jumped by {jumped_s} s; nothing goes by age until it is set back, or confirmed by `stele clock confirm`\n"
        ),
        (false, true) => format!("confirmed: the wall clock has rightly jumped by {jumped_s} s\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_names_the_jump_and_what_helps() {
        let jumped = serde_json::json!({ "trusted": false, "jumped_s": -3600 });
        assert!(
            text(&jumped, false).contains("by -3600 s")
                && text(&jumped, false).contains("stele clock confirm")
        );
        assert!(text(&jumped, true).starts_with("confirmed"));
        assert_eq!(text(&serde_json::json!({ "trusted": true }), false), "the wall clock is trusted\n");
    }
}
