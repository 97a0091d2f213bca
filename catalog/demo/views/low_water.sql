SELECT r.station_id, r.day, r.flow_m3s
FROM archive.readings r
JOIN hydro.stations s ON s.id = r.station_id
WHERE r.flow_m3s < 0.4 * s.mean_m3s
