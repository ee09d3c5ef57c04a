//! The part that knows nothing of the engine, so that `cargo test` can test it.

/// How many words a text has.
pub fn count(text: &str) -> usize {
    text.split_whitespace().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted() {
        assert_eq!(count(""), 0);
        assert_eq!(count(" one\ttwo\n three "), 3);
    }
}
