//! Which requests count: the parts of a filter that facts decide. Its condition is evaluated by whoever has the expressions.

use globset::{GlobBuilder, GlobMatcher};
use yuanli_model::trigger::HookFilter;

use super::fact::Facts;

/// A pattern that is none; `lang` refuses those before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no pattern")]
pub struct InvalidFilter(String);

/// What a filter says of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passed {
    /// It counts, as far as facts decide.
    Yes,
    /// It does not, in words.
    No(String),
}

/// Asks a filter. A request that only asks whether anybody is there never counts.
///
/// # Errors
/// [`InvalidFilter`].
pub fn passes(filter: &HookFilter, facts: &Facts) -> Result<Passed, InvalidFilter> {
    if facts.is_ping {
        return Ok(Passed::No("it only asks whether anybody is there".to_owned()));
    }
    let events = &filter.events;
    if !events.is_empty() && !facts.events.iter().any(|event| events.contains(event)) {
        let seen = if facts.events.is_empty() { "no event".to_owned() } else { facts.events.join(", ") };
        return Ok(Passed::No(format!("it is {seen}, and not {}", events.join(" or "))));
    }
    if let Some(why) = elsewhere(filter, facts)? {
        return Ok(Passed::No(why));
    }
    let paths = &filter.paths;
    // What does not tell its files is not held back.
    if !paths.is_empty() && !facts.paths.is_empty() {
        let patterns = patterns(paths)?;
        if !facts.paths.iter().any(|path| fits(&patterns, path)) {
            let why = format!("none of its {} files fits {}", facts.paths.len(), paths.join(" or "));
            return Ok(Passed::No(why));
        }
    }
    Ok(Passed::Yes)
}

/// Why it happened to another branch or tag than those that count.
fn elsewhere(filter: &HookFilter, facts: &Facts) -> Result<Option<String>, InvalidFilter> {
    let (branches, tags) = (&filter.branches, &filter.tags);
    if branches.is_empty() && tags.is_empty() {
        return Ok(None);
    }
    let is_branch = {
        let patterns = patterns(branches)?;
        facts.branch.as_ref().is_some_and(|branch| fits(&patterns, branch))
    };
    let is_tag = {
        let patterns = patterns(tags)?;
        facts.tags.iter().any(|tag| fits(&patterns, tag))
    };
    if is_branch || is_tag {
        return Ok(None);
    }
    let at = match (&facts.branch, facts.tags.as_slice()) {
        (Some(branch), _) => format!("the branch {branch}"),
        (None, []) => "no branch and no tag".to_owned(),
        (None, tags) => format!("the tag {}", tags.join(", ")),
    };
    let wanted: Vec<&str> = branches.iter().chain(tags).map(String::as_str).collect();
    Ok(Some(format!("it is about {at}, and not about {}", wanted.join(" or "))))
}

fn patterns(texts: &[String]) -> Result<Vec<GlobMatcher>, InvalidFilter> {
    let compile = |text: &String| {
        let glob = GlobBuilder::new(text).literal_separator(true).build();
        glob.map(|glob| glob.compile_matcher()).map_err(|_| InvalidFilter(text.clone()))
    };
    texts.iter().map(compile).collect()
}

fn fits(patterns: &[GlobMatcher], text: &str) -> bool {
    patterns.iter().any(|pattern| pattern.is_match(text))
}
