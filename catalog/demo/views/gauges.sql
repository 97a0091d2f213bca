SELECT s.id, r.name AS river, s.name AS station, s.km, s.regime, s.built
FROM hydro.stations s
JOIN hydro.rivers r ON r.id = s.river_id
