"""Where what Tripline says goes: notifications to people."""
