-- What the crews cost in each river system, beside its days of low water
WITH RECURSIVE systems AS (
    SELECT id, id AS system_id, name AS system
    FROM hydro.rivers
    WHERE flows_into IS NULL
    UNION ALL
    SELECT r.id, s.system_id, s.system
    FROM hydro.rivers r
    JOIN systems s ON r.flows_into = s.id
),
cost AS (
    SELECT y.system, count(*) AS visits, sum(v.cost) AS cost
    FROM crew.visits v
    JOIN hydro.stations s ON s.id = v.station_id
    JOIN systems y ON y.id = s.river_id
    GROUP BY y.system
),
low AS (
    SELECT y.system,
           count(DISTINCT s.id) AS stations,
           count(*) FILTER (WHERE a.flow_m3s < 0.4 * s.mean_m3s) AS low_days,
           min(a.flow_m3s / s.mean_m3s) AS lowest
    FROM archive.readings a
    JOIN hydro.stations s ON s.id = a.station_id
    JOIN systems y ON y.id = s.river_id
    GROUP BY y.system
)
SELECT l.system,
       l.stations,
       c.visits,
       c.cost,
       round(c.cost / l.stations, 2) AS cost_per_station,
       l.low_days,
       round(100 * l.lowest, 1) AS lowest_percent_of_mean
FROM low l
JOIN cost c ON c.system = l.system
ORDER BY c.cost DESC, l.system
