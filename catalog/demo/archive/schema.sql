-- One reading a day and station. The rows are computed when the demo is set up.
CREATE TABLE readings (
    station_id BIGINT NOT NULL,
    day DATE NOT NULL,
    level_m DECIMAL(5,2) NOT NULL,
    flow_m3s DECIMAL(9,1) NOT NULL,
    water_c DECIMAL(4,1) NOT NULL,
    PRIMARY KEY (station_id, day)
);
