//! Messages that are written beside the rows that they tell of.
