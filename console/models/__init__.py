"""Models of deals for people: their cards as Markdown and as a page."""
