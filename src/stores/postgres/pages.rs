//! Ranges of the pages of a table: together they are all pages, those that it has not got yet too.

/// Pages from the first to before the end; to the last one there will be where there is no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pages {
    first: u64,
    end: Option<u64>,
}

impl Pages {
    /// Every page.
    pub(super) const ALL: Self = Self { first: 0, end: None };

    /// A table of so many pages in so many ranges, or in fewer where it has fewer pages.
    pub(super) fn divided(pages: u64, ranges: usize) -> Vec<Self> {
        let ranges = (ranges as u64).clamp(1, pages.max(1));
        // Pages are counted with 32 bits and ranges are few, so that no product overflows.
        let start = |range: u64| pages.saturating_mul(range) / ranges;
        let end = |range: u64| (range + 1 < ranges).then(|| start(range + 1));
        (0..ranges).map(|range| Self { first: start(range), end: end(range) }).collect()
    }

    /// The condition on rows in these pages; `None` for all of them. Rows of a page are numbered from 1.
    pub(super) fn condition(self) -> Option<String> {
        let first = (self.first > 0).then(|| format!("ctid >= '({},0)'::pg_catalog.tid", self.first));
        let end = self.end.map(|end| format!("ctid < '({end},0)'::pg_catalog.tid"));
        match (first, end) {
            (Some(first), Some(end)) => Some(format!("{first} AND {end}")),
            (first, end) => first.or(end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_all_pages_once() {
        for (pages, ranges, expected) in
            [(0, 4, 1), (1, 4, 1), (3, 4, 3), (4, 4, 4), (10, 4, 4), (8824, 3, 3), (7, 1, 1), (7, 0, 1)]
        {
            let divided = Pages::divided(pages, ranges);
            assert_eq!(divided.len(), expected, "{pages} in {ranges}");
            assert_eq!(divided.first().map(|range| range.first), Some(0));
            assert_eq!(divided.last().map(|range| range.end), Some(None));
            for pair in divided.windows(2) {
                assert_eq!(pair[0].end, Some(pair[1].first));
                assert!(pair[0].first < pair[1].first, "{divided:?}");
            }
        }
        assert_eq!(Pages::divided(u64::from(u32::MAX), 64).len(), 64);
    }

    #[test]
    fn ranges_are_conditions_on_rows() {
        let conditions: Vec<Option<String>> = Pages::divided(9, 3).into_iter().map(Pages::condition).collect();
        let texts: Vec<&str> = conditions.iter().flatten().map(String::as_str).collect();
        let expected = [
            "ctid < '(3,0)'::pg_catalog.tid",
            "ctid >= '(3,0)'::pg_catalog.tid AND ctid < '(6,0)'::pg_catalog.tid",
            "ctid >= '(6,0)'::pg_catalog.tid",
        ];
        assert_eq!(texts, expected);
        assert_eq!((Pages::ALL.condition(), Pages::divided(5, 1)), (None, vec![Pages::ALL]));
    }
}
