//! Documents as columns: type inference over samples, declared schemas, and conversion of values into Arrow.
