"""Side by side: the connector, what else a team would use, and what the machine allows.

Nothing here asserts a time. A run fails only when a contender did not land every event of the day exactly once.
"""
