-- A materialized view over two stores, which follows a write behind Tributary, and a read that says how old its rows may be
CREATE MATERIALIZED VIEW IF NOT EXISTS visited AS
  SELECT s.id, s.name AS station, count(*) AS visits, sum(v.cost) AS cost
  FROM hydro.stations s JOIN crew.visits v ON v.station_id = s.id GROUP BY s.id, s.name;
SET tributary.consistency = 'bounded';
SET tributary.max_staleness = '1s';
SELECT station, visits, cost FROM visited WHERE id = 12;
