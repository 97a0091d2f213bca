-- Rivers and gauging stations, in the words that PostgreSQL and SQLite share.
CREATE TABLE rivers (
    id BIGINT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    flows_into BIGINT REFERENCES rivers (id),
    length_km BIGINT NOT NULL,
    basin_km2 BIGINT NOT NULL,
    discharge_m3s NUMERIC(8,1) NOT NULL,
    source_country TEXT NOT NULL,
    mouth TEXT
);

CREATE TABLE stations (
    id BIGINT NOT NULL PRIMARY KEY,
    river_id BIGINT NOT NULL REFERENCES rivers (id),
    name TEXT NOT NULL,
    km BIGINT NOT NULL,
    built DATE NOT NULL,
    mean_m3s BIGINT NOT NULL,
    regime TEXT NOT NULL
);

CREATE INDEX stations_river ON stations (river_id);
