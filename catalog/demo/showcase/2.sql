-- Otters and salmon seen in the cold, the water on that day, and who did the last bigger job at the station
SELECT f.at::date AS day,
       r.name || ' at ' || s.name AS place,
       f.animal,
       (f.weather).air_c AS air_c,
       a.water_c,
       a.flow_m3s,
       (f.observer).name AS seen_by,
       p.name AS last_job_by,
       v.visited AS on_day
FROM (SELECT at, station, weather, observer, unnest(species) AS animal FROM field.reports) f
JOIN hydro.stations s ON s.id = f.station
JOIN hydro.rivers r ON r.id = s.river_id
JOIN archive.readings a ON a.station_id = s.id AND a.day = f.at::date
LEFT JOIN (
    SELECT b.at, b.station, max(c.visited) AS visited
    FROM field.reports b
    JOIN crew.visits c ON c.station_id = b.station AND c.visited <= b.at::date AND c.cost >= 300
    GROUP BY b.at, b.station
) last ON last.at = f.at AND last.station = f.station
LEFT JOIN crew.visits v ON v.station_id = s.id AND v.visited = last.visited
LEFT JOIN crew.people p ON p.id = v.person_id
WHERE f.animal IN ('otter', 'salmon')
  AND (f.weather).air_c < 6
  AND a.water_c < 7
  AND s.regime IN ('rain', 'mixed')
ORDER BY day, place, f.animal
