"""What the bridge calls beside 29next: the one HTTP client of the house, and who is told over it."""
