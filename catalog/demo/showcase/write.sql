-- The first reading there: a write to one store
INSERT INTO archive.readings (station_id, day, level_m, flow_m3s, water_c) VALUES (:id, '2025-01-07', 3.1, 2047.5, 4.9);
