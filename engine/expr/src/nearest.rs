//! The name that somebody probably meant.

/// The candidate nearest to `wrong`, if one is near enough that it may be a slip: at most a third of the letters
/// differ, letter case aside.
#[must_use]
pub fn nearest<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    let most = wrong.chars().count().div_ceil(3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&wrong, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= most && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name_and_another_word_does_not() {
        let names = ["image", "context", "tag", "x"];
        for (wrong, expect) in [
            ("imgae", Some("image")),
            ("Image", Some("image")),
            ("contxt", Some("context")),
            ("tga", Some("tag")),
            ("dockerfile", None),
            ("y", None),
            ("", None),
        ] {
            assert_eq!(nearest(wrong, names), expect, "{wrong}");
        }
    }
}
