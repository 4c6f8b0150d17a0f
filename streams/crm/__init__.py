"""The CRMs themselves, as far as Tripline reaches them: to take credentials away, to cancel what agents
set up, and to see a feed live."""
