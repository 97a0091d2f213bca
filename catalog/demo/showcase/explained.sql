SELECT r.name, count(*) AS readings, round(avg(a.flow_m3s), 1) AS flow
FROM hydro.rivers r
JOIN hydro.stations s ON s.river_id = r.id
JOIN archive.readings a ON a.station_id = s.id
WHERE r.length_km > 500
GROUP BY r.name
ORDER BY flow DESC
LIMIT 3
