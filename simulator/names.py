"""Names of invented people, companies and deals. All of it is fiction; every domain ends in .example."""

from __future__ import annotations

from functools import lru_cache

ACCOUNTS = (
    ("Nordwind Logistik", "Transport"),
    ("Halden Pharma", "Pharmaceuticals"),
    ("Atelier Brun", "Retail"),
    ("Kessler & Roth", "Insurance"),
    ("Oster Energi", "Energy"),
    ("Brandt Medizin", "Healthcare"),
    ("Marlow Textiles", "Textiles"),
    ("Fjord Seafood", "Food"),
    ("Calder Precision", "Machinery"),
    ("Bellweather Hotels", "Hospitality"),
    ("Tamm & Kask", "Construction"),
    ("Rivabella", "Food"),
)
ACCOUNT_HEADS = (
    "Alder", "Birk", "Cavallo", "Dorn", "Elbe", "Falk", "Grove", "Hartwig", "Isar", "Juno", "Kestrel", "Linden",
    "Moser", "Nyström", "Orla", "Prisma", "Quill", "Rhein", "Sorrel", "Tern", "Ulmen", "Verde", "Wolff", "Yarrow",
    "Zephyr", "Amsel", "Bruno", "Corvin", "Delft", "Ember", "Fenner", "Gamla", "Hollis", "Ibis", "Jasper", "Kolb",
)  # fmt: skip
ACCOUNT_TAILS = (
    ("Logistics", "Transport"), ("Pharma", "Pharmaceuticals"), ("Stores", "Retail"), ("Insurance", "Insurance"),
    ("Energy", "Energy"), ("Clinics", "Healthcare"), ("Foods", "Food"), ("Machines", "Machinery"),
    ("Hotels", "Hospitality"), ("Bau", "Construction"), ("Media", "Media"), ("Labs", "Research"),
)  # fmt: skip
INDUSTRIES = {
    "Transport": ("Transport", "Road transport", "Logistics services"),
    "Pharmaceuticals": ("Pharmaceuticals", "Life sciences"),
    "Retail": ("Retail", "Retail chains", "Consumer goods"),
    "Insurance": ("Insurance", "Financial services"),
    "Energy": ("Energy", "Utilities"),
    "Healthcare": ("Healthcare", "Medical technology"),
    "Textiles": ("Textiles", "Consumer goods"),
    "Food": ("Food", "Food and drink"),
    "Machinery": ("Machinery", "Mechanical engineering"),
    "Hospitality": ("Hospitality", "Hotels and restaurants"),
    "Construction": ("Construction", "Building services"),
    "Media": ("Media", "Publishing"),
    "Research": ("Research", "Life sciences"),
}
"""Each company's industry, and the labels that data sources give to it."""
SEGMENTS = ("Enterprise", "Mid-market", "Small business")
COUNTRIES = ("Germany", "Sweden", "Norway", "Netherlands", "France", "Italy", "Austria", "Denmark")
CITIES = ("Hamburg", "Malmö", "Bergen", "Utrecht", "Lyon", "Torino", "Graz", "Aarhus")
FIRST_NAMES = (
    "Petra", "Dario", "Anja", "Nils", "Claire", "Marek", "Elin", "Jonas", "Lucia", "Henrik", "Sofie", "Pavel",
    "Greta", "Luca", "Ida", "Bastien", "Mette", "Andrei", "Clara", "Oskar", "Nadia", "Felix", "Runa", "Milan",
)  # fmt: skip
LAST_NAMES = (
    "Vogel", "Conti", "Brandt", "Lund", "Moreau", "Novak", "Dahl", "Keller", "Ferri", "Holm", "Jansen", "Sykora",
    "Weiss", "Ricci", "Berg", "Garnier", "Krog", "Popa", "Winter", "Nygaard", "Haddad", "Sommer", "Eide", "Kovac",
)  # fmt: skip
JOB_TITLES = (
    "Head of Fleet", "Buyer", "Senior Buyer", "IT Manager", "Chief Financial Officer", "Head of Operations",
    "Procurement Lead", "Project Manager", "Chief Technology Officer", "Team Lead",
)  # fmt: skip
PRODUCTS = (
    "Fleet telemetry", "Lab data platform", "Store rollout", "Claims automation", "Grid planning seats",
    "Route planning", "Patient portal", "Price labels", "Cold chain sensors", "Field service app", "Booking engine",
    "Site safety kit", "Media archive", "Order intake", "Warehouse scanning", "Meter reading", "Supplier portal",
    "Shift planning",
)  # fmt: skip
DEAL_KINDS = ("renewal", "phase 2", "pilot", "expansion", "first order", "support plan")
NEXT_STEPS = (
    "Send the revised offer", "Book the security review", "Agree a signing date with legal", "Call the economic buyer",
    "Demo for the project team", "Wait for the budget meeting", "Collect the open questions", "Prepare the workshop",
)  # fmt: skip
FORECASTS = ("Pipeline", "Best case", "Commit")
LEAD_QUEUES = ("DACH new business", "Nordics new business", "Partners", "Existing customers", "Nurture")
LEAD_STATUSES = ("New", "Working", "Qualified", "Nurture")
COMPETITORS = ("Fernbrook", "Quantis", "Northgate")
REPS = (
    "Lea Hoffmann", "Anton Weber", "Freja Lind", "Matteo Galli", "Signe Olsen", "Paul Richter", "Emma Visser",
    "Karim Haddad", "Julia Stark", "Erik Sandberg", "Nora Wolf", "Tim Janssen",
)  # fmt: skip
MANAGERS = ("Jo Berger", "Hanna Ek", "Viktor Brandl", "Louise Perrin", "Oda Strand")
OWNERS = ("Tomas Reuter", "Sami Okafor", "Ines Faber", "Jo Berger", "Maya Lindqvist")


_PLAIN = str.maketrans("äöüéåø", "aoueao")


@lru_cache(maxsize=4096)
def slug(text: str) -> str:
    """A readable id from a name: lower case ASCII letters, digits and hyphens."""
    plain = text.lower().translate(_PLAIN)
    words = "".join(letter if letter.isascii() and letter.isalnum() else " " for letter in plain).split()
    return "-".join(words)


@lru_cache(maxsize=4096)
def user(name: str) -> str:
    """The id of a colleague: ``user:lea.hoffmann``."""
    return "user:" + slug(name).replace("-", ".")
