"""Names of the countries and regions in the sample, for the documented dialect, which writes names instead of codes.

A code without a name here is written unchanged.
"""

COUNTRIES = {
    "BR": "Brazil",
    "CA": "Canada",
    "DE": "Germany",
    "FR": "France",
    "GB": "United Kingdom",
    "IN": "India",
    "JP": "Japan",
    "NL": "Netherlands",
    "SE": "Sweden",
    "US": "United States",
}

REGIONS = {
    ("BR", "SP"): "São Paulo",
    ("CA", "ON"): "Ontario",
    ("DE", "BE"): "Berlin",
    ("DE", "BY"): "Bavaria",
    ("FR", "IDF"): "Île-de-France",
    ("GB", "ENG"): "England",
    ("IN", "KA"): "Karnataka",
    ("JP", "13"): "Tokyo",
    ("NL", "NH"): "North Holland",
    ("SE", "AB"): "Stockholm County",
    ("SE", "O"): "Västra Götaland County",
    ("US", "CA"): "California",
    ("US", "NY"): "New York",
    ("US", "TX"): "Texas",
}
