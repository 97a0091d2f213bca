-- A write behind Tributary, which a client hears of that listens
LISTEN "crew.visits";
