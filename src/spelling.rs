//! Which of the names that exist was probably meant by one that does not. What names there are is for the asker to know.

/// The candidate that differs least from `wanted`, for hints: at most a third of its letters may differ, or two neighbours may
/// have changed places.
pub fn nearest<'a>(wanted: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (wanted.chars().count() / 3).max(1);
    candidates
        .map(|candidate| (distance(wanted, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

fn distance(wanted: &str, candidate: &str) -> usize {
    let differing: Vec<(char, char)> = wanted.chars().zip(candidate.chars()).filter(|(one, other)| one != other).collect();
    match differing.as_slice() {
        [(a, b), (c, d)] if a == d && b == c && wanted.len() == candidate.len() => 1,
        _ => datafusion::common::utils::datafusion_strsim::levenshtein(wanted, candidate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_a_likely_typo_only() {
        let names = ["orders", "customers", "order_lines"];
        assert_eq!(nearest("ordres", names.into_iter()), Some("orders"));
        assert_eq!(nearest("weather", names.into_iter()), None);
        assert_eq!(nearest("paht", ["host", "path"].into_iter()), Some("path"));
        assert_eq!(nearest("thap", ["host", "path"].into_iter()), None);
        assert_eq!(nearest("", names.into_iter()), None);
    }
}
