"""What to do next for a dispute, decided purely: no clock, no database, no network."""
