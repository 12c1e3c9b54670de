"""A ready code location: this deployment's assets, schedules and sensors, and the example to copy."""
