-- Writes behind Tributary, which a client hears of that listens
LISTEN "hydro.stations";
LISTEN "crew.visits";
LISTEN "field.reports";
