-- Reports of volunteers, one JSON document each.
CREATE TABLE reports (
    id INTEGER PRIMARY KEY,
    doc JSON NOT NULL
);
