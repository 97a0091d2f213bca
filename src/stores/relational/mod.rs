//! What the SQL stores share: dialects, identifier and literal writing, predicates to SQL with bound parameters.
