"""Names of the countries and regions the sample knows, for the dialect that writes names instead of codes.

Codes it does not know are written as they are.
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
