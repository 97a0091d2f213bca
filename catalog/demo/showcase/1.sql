-- The Rhine and everything that flows into it, beside what the stations measured
WITH RECURSIVE tree AS (
    SELECT id, name, discharge_m3s, 0 AS depth, name AS path
    FROM hydro.rivers
    WHERE name = 'Rhine'
    UNION ALL
    SELECT r.id, r.name, r.discharge_m3s, t.depth + 1, t.path || ' < ' || r.name
    FROM hydro.rivers r
    JOIN tree t ON r.flows_into = t.id
),
gathered AS (
    SELECT flows_into AS id, count(*) AS tributaries, sum(discharge_m3s) AS brought_m3s
    FROM hydro.rivers
    GROUP BY flows_into
),
gauged AS (
    SELECT s.river_id, count(DISTINCT s.id) AS stations, round(avg(a.flow_m3s), 1) AS gauged_m3s
    FROM hydro.stations s
    JOIN archive.readings a ON a.station_id = s.id
    GROUP BY s.river_id
)
SELECT repeat('  ', t.depth) || t.name AS river,
       t.discharge_m3s AS at_mouth_m3s,
       g.tributaries,
       g.brought_m3s,
       m.stations,
       m.gauged_m3s
FROM tree t
LEFT JOIN gathered g ON g.id = t.id
LEFT JOIN gauged m ON m.river_id = t.id
ORDER BY t.path
