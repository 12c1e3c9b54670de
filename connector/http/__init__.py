"""The only folder that speaks HTTP: JSON requests, file downloads, the webhook, retries and the request budget."""
