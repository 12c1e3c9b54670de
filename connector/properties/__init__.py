"""What properties events have: looked at day by day, compared with the days before, and made into typed models."""
