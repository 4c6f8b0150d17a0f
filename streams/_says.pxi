# How the outputs of deals are put together: Structs by their fields' places, which costs a third of calling their class.

cdef extern from "Python.h":
    const char* utf8_of "PyUnicode_AsUTF8AndSize"(object text, Py_ssize_t* size) except NULL

cdef struct OutputAt:
    Py_ssize_t id, key, at_ms, event

cdef struct OutEventAt:
    Py_ssize_t id, time, partitionkey, tenant, data

cdef struct RiskAt:
    Py_ssize_t deal_id, manager_id, owner_id, at, offset, p_lost, p_lost_14d, p_slip, p_won_by, band, base, reasons
    Py_ssize_t model, cause

cdef struct ScoreAt:
    Py_ssize_t deal_id, manager_id, owner_id, p_lost, p_slip, p_lost_14d, is_open, deal, account, amount_minor, currency
    Py_ssize_t close_date, stage, link, reasons, recommended_action

cdef struct ScoresAt:
    Py_ssize_t p_lost, p_lost_14d, p_slip, p_won_by, band

cdef OutputAt OUTPUT
cdef OutEventAt OUT
cdef RiskAt RISK
cdef ScoreAt SCORE
cdef ScoresAt SCORES

OUTPUT.id, OUTPUT.key = offset_of(Output, "id"), offset_of(Output, "key")
OUTPUT.at_ms, OUTPUT.event = offset_of(Output, "at_ms"), offset_of(Output, "event")
OUT.id, OUT.time, OUT.tenant = offset_of(RiskEvent, "id"), offset_of(RiskEvent, "time"), offset_of(RiskEvent, "tenant")
OUT.partitionkey, OUT.data = offset_of(RiskEvent, "partitionkey"), offset_of(RiskEvent, "data")
for _name in ("id", "time", "tenant", "partitionkey", "data"):
    assert offset_of(RiskEvent, _name) == offset_of(ScoreEvent, _name)
RISK.deal_id, RISK.manager_id = offset_of(DealRisk, "deal_id"), offset_of(DealRisk, "manager_id")
RISK.owner_id, RISK.at, RISK.offset = offset_of(DealRisk, "owner_id"), offset_of(DealRisk, "at"), offset_of(DealRisk, "offset")
RISK.p_lost, RISK.p_lost_14d = offset_of(DealRisk, "p_lost"), offset_of(DealRisk, "p_lost_14d")
RISK.p_slip, RISK.p_won_by = offset_of(DealRisk, "p_slip"), offset_of(DealRisk, "p_won_by")
RISK.band, RISK.base, RISK.cause = offset_of(DealRisk, "band"), offset_of(DealRisk, "base"), offset_of(DealRisk, "cause")
RISK.reasons, RISK.model = offset_of(DealRisk, "reasons"), offset_of(DealRisk, "model")
SCORE.deal_id, SCORE.manager_id = offset_of(PortfolioScore, "deal_id"), offset_of(PortfolioScore, "manager_id")
SCORE.owner_id, SCORE.p_lost = offset_of(PortfolioScore, "owner_id"), offset_of(PortfolioScore, "p_lost")
SCORE.p_slip, SCORE.p_lost_14d = offset_of(PortfolioScore, "p_slip"), offset_of(PortfolioScore, "p_lost_14d")
SCORE.is_open, SCORE.deal = offset_of(PortfolioScore, "is_open"), offset_of(PortfolioScore, "deal")
SCORE.account, SCORE.amount_minor = offset_of(PortfolioScore, "account"), offset_of(PortfolioScore, "amount_minor")
SCORE.currency, SCORE.close_date = offset_of(PortfolioScore, "currency"), offset_of(PortfolioScore, "close_date")
SCORE.stage, SCORE.link = offset_of(PortfolioScore, "stage"), offset_of(PortfolioScore, "link")
SCORE.reasons = offset_of(PortfolioScore, "reasons")
SCORE.recommended_action = offset_of(PortfolioScore, "recommended_action")
SCORES.p_lost, SCORES.p_lost_14d = offset_of(Scores, "p_lost"), offset_of(Scores, "p_lost_14d")
SCORES.p_slip, SCORES.p_won_by, SCORES.band = (
    offset_of(Scores, "p_slip"), offset_of(Scores, "p_won_by"), offset_of(Scores, "band")
)
for _kind in (Output, RiskEvent, ScoreEvent, DealRisk, PortfolioScore):
    if not is_plain(_kind, len(_kind.__struct_fields__)):
        raise TypeError(f"{_kind.__name__} is not laid out as expected")
assert (len(DealRisk.__struct_fields__), len(PortfolioScore.__struct_fields__)) == (14, 16)  # what is filled in here

cdef object A_RISK = DealRisk(
    deal_id="", manager_id=None, owner_id=None, at="", offset=0, p_lost=0.0, p_lost_14d=0.0, p_slip=0.0, p_won_by={},
    band="low", base=0.0, reasons=[], model=ModelInfo(kind="", version=0, proven=False), cause="",
)
cdef object A_SCORE = PortfolioScore(
    deal_id="", manager_id="", owner_id="", p_lost=0.0, p_slip=0.0, p_lost_14d=0.0, is_open=False
)
cdef enum:
    MOST_ID = 1024      # bytes of an output id's parts that are put together on the stack


cdef inline void append(char* text, Py_ssize_t* size, const char* part, Py_ssize_t length) noexcept:
    memcpy(text + size[0], part, length)
    size[0] += length


cdef Py_ssize_t append_number(char* text, int64_t number) noexcept:
    """The digits of a number that is not negative; returns how many."""
    cdef char digits[24]
    cdef Py_ssize_t count = 0, at
    while True:
        digits[count] = c'0' + <char>(number % 10)
        count += 1
        number //= 10
        if not number:
            break
    for at in range(count):
        text[at] = digits[count - 1 - at]
    return count
