"""The CRMs themselves, as far as Tripline reaches them: to take credentials away, and to see a feed live."""
