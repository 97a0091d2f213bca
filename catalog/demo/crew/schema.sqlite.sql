-- Who visits the stations. Names compare without regard to case.
CREATE TABLE people (
    id BIGINT NOT NULL PRIMARY KEY,
    name TEXT COLLATE NOCASE NOT NULL UNIQUE,
    trade TEXT NOT NULL,
    home TEXT NOT NULL
);

CREATE TABLE visits (
    id BIGINT NOT NULL PRIMARY KEY,
    station_id BIGINT NOT NULL,
    person_id BIGINT NOT NULL REFERENCES people (id),
    visited DATE NOT NULL,
    cost DECIMAL(8,2) NOT NULL,
    note TEXT
);

CREATE INDEX visits_station ON visits (station_id, visited);
