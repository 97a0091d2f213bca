-- A new station and the first visit to it: one transaction over two stores
BEGIN;
INSERT INTO hydro.stations (id, river_id, name, km, built, mean_m3s, regime) VALUES (:id, 1, 'Bonn', 655, '2025-01-07', 2050, 'mixed');
INSERT INTO crew.visits (id, station_id, person_id, visited, cost, note) VALUES (:id, :id, 2, '2025-01-07', 980.00, 'set up the gauge');
COMMIT;
