-- Who visits the stations. Names compare without regard to case.
CREATE TABLE people (
    id BIGINT NOT NULL PRIMARY KEY,
    name VARCHAR(80) COLLATE utf8mb4_general_ci NOT NULL UNIQUE,
    trade VARCHAR(40) NOT NULL,
    home VARCHAR(80) NOT NULL
);

CREATE TABLE visits (
    id BIGINT NOT NULL PRIMARY KEY,
    station_id BIGINT NOT NULL,
    person_id BIGINT NOT NULL,
    visited DATE NOT NULL,
    cost DECIMAL(8,2) NOT NULL,
    note VARCHAR(200),
    FOREIGN KEY (person_id) REFERENCES people (id)
);

CREATE INDEX visits_station ON visits (station_id, visited);
