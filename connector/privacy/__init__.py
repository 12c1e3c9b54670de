"""What of a person's data is dropped or hashed before it is written, and how one person is deleted."""
