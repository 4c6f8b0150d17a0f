"""The rules of the gate, by what they look at. ``governance.gate`` tries them in order."""
