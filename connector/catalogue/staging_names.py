"""Names of columns in the dbt staging models, by vendor and table; a column that is not listed keeps its name."""

from collections.abc import Mapping

_INSIGHTS = {
    "date": "metric_date",
    "pageviews": "page_views",
    "revenue": "revenue_cents",
    "bounce_rate": "bounce_percent",
    "avg_session_duration": "average_session_seconds",
}
OPENPANEL: Mapping[str, Mapping[str, str] | None] = {
    "events": None,  # the model does more than rename, and is written by hand
    "insights_metrics": _INSIGHTS
    | {
        "unique_visitors": "visitors",
        "total_sessions": "sessions",
        "total_screen_views": "page_views",
        "views_per_session": "page_views_per_session",
        "total_revenue": "revenue_cents",
        "series": "hours",
    },
    "insights_pages": _INSIGHTS | {"avg_duration": "average_seconds_on_page"},
    "insights_breakdowns": _INSIGHTS | {"prefix": "parent_value", "name": "dimension_value"},
    "insights_live": {"_day": "sampled_day"},
    "charts": {
        "chart": "chart_name",
        "series": "series_name",
        "date": "local_starts_at",
        "value": "series_value",
        "previous_diff": "previous_difference_percent",
        "metrics": "series_metrics",
    },
    "funnels": {
        "funnel": "funnel_name",
        "date": "metric_date",
        "step": "step_number",
        "users": "entrants",
        "conversion_rate_from_start": "conversion_percent",
        "total_users": "entrants_at_start",
        "completed_users": "entrants_at_end",
        "overall_conversion_rate": "overall_conversion_percent",
    },
    "insights_entry_exit": _INSIGHTS,
    "sessions": {
        "id": "session_id",
        "created_at": "started_at",
        "screen_view_count": "page_views",
        "revenue": "revenue_cents",
        "event_count": "other_events",
        "duration": "duration_ms",
        "device": "device_type",
        "groups": "group_ids",
        "sign": "vendor_sign",
        "version": "vendor_version",
    },
    "profiles": {"id": "profile_id", "groups": "group_ids", "last_seen_at": "last_active_at"},
    "groups": {"id": "group_id", "type": "group_type", "name": "group_name"},
}

_PROPERTY = {"id": "property_id", "key": "property_key", "type": "property_type"}
USERPILOT: Mapping[str, Mapping[str, str] | None] = {
    "events": None,  # the model does more than rename, and is written by hand
    "user_properties": _PROPERTY,
    "company_properties": _PROPERTY,
    "events_properties": _PROPERTY
    | {
        "description": "property_description",
        "event": "property_event",
        "inserted_at": "first_known_at_text",
        "last_seen": "last_used_at_text",
    },
    "features_events": {"id": "feature_id", "key": "feature_key"},
    "segments": {
        "id": "segment_id",
        "usage": "segment_usage",
        "category": "segment_category",
        "status": "segment_status",
    },
    "flows": {"id": "flow_id"},
    "banners": {"id": "banner_id"},
    "spotlights": {"id": "spotlight_id"},
    "surveys": {"id": "survey_id", "modules": "questions"},
    "surveys_modules": {
        "parent_id": "survey_id",
        "id": "question_id",
        "order": "vendor_order",
        "type": "question_type",
        "question": "question_text",
    },
    "resource_center_modules": {"id": "module_id", "key": "module_key"},
    "checklists": {"id": "checklist_id", "key": "checklist_key"},
    "checklists_tasks": {"parent_id": "checklist_id", "id": "task_id"},
    "embeds": {"id": "embed_id", "type": "embed_type"},
}

BY_VENDOR = {"openpanel": OPENPANEL, "userpilot": USERPILOT}
