"""ISO 4217: the currencies in use, their decimals and numbers, and the signs that people write. Pure."""

from __future__ import annotations

NUMBERS = """
AED784 AFN971 ALL008 AMD051 AOA973 ARS032 AUD036 AWG533 AZN944 BAM977 BBD052 BDT050 BGN975 BHD048
BIF108 BMD060 BND096 BOB068 BRL986 BSD044 BTN064 BWP072 BYN933 BZD084 CAD124 CDF976 CHF756 CLP152
CNY156 COP170 CRC188 CUP192 CVE132 CZK203 DJF262 DKK208 DOP214 DZD012 EGP818 ERN232 ETB230 EUR978
FJD242 FKP238 GBP826 GEL981 GHS936 GIP292 GMD270 GNF324 GTQ320 GYD328 HKD344 HNL340 HTG332 HUF348
IDR360 ILS376 INR356 IQD368 IRR364 ISK352 JMD388 JOD400 JPY392 KES404 KGS417 KHR116 KMF174 KPW408
KRW410 KWD414 KYD136 KZT398 LAK418 LBP422 LKR144 LRD430 LSL426 LYD434 MAD504 MDL498 MGA969 MKD807
MMK104 MNT496 MOP446 MRU929 MUR480 MVR462 MWK454 MXN484 MYR458 MZN943 NAD516 NGN566 NIO558 NOK578
NPR524 NZD554 OMR512 PAB590 PEN604 PGK598 PHP608 PKR586 PLN985 PYG600 QAR634 RON946 RSD941 RUB643
RWF646 SAR682 SBD090 SCR690 SDG938 SEK752 SGD702 SHP654 SLE925 SOS706 SRD968 SSP728 STN930 SVC222
SYP760 SZL748 THB764 TJS972 TMT934 TND788 TOP776 TRY949 TTD780 TWD901 TZS834 UAH980 UGX800 USD840
UYU858 UZS860 VED926 VES928 VND704 VUV548 WST882 XAD396 XAF950 XCD951 XCG532 XOF952 XPF953 YER886
ZAR710 ZMW967 ZWG924
"""

BY_NUMBER: dict[str, str] = {entry[3:]: entry[:3] for entry in NUMBERS.split()}
"""Currency codes by their numbers; 532 is the Caribbean guilder's since it took the place of ANG."""

NO_DECIMALS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
THREE_DECIMALS = "BHD IQD JOD KWD LYD OMR TND"

DECIMALS: dict[str, int] = (
    dict.fromkeys([*BY_NUMBER.values(), "ANG"], 2)
    | dict.fromkeys(NO_DECIMALS.split(), 0)
    | dict.fromkeys(THREE_DECIMALS.split(), 3)
)
"""Decimals by currency code; a code that is not here is not a currency."""

DOLLARS = "USD AUD BBD BMD BND BSD BZD CAD FJD GYD HKD JMD KYD LRD NAD NZD SBD SGD SRD TTD TWD XCD"
PESOS = "ARS CLP COP CUP DOP MXN UYU"

SIGNS: dict[str, frozenset[str]] = {
    "$": frozenset([*DOLLARS.split(), *PESOS.split(), "BRL", "NIO"]),
    "US$": frozenset({"USD"}),
    "A$": frozenset({"AUD"}),
    "C$": frozenset({"CAD", "NIO"}),
    "CA$": frozenset({"CAD"}),
    "AU$": frozenset({"AUD"}),
    "NZ$": frozenset({"NZD"}),
    "HK$": frozenset({"HKD"}),
    "S$": frozenset({"SGD"}),
    "NT$": frozenset({"TWD"}),
    "MX$": frozenset({"MXN"}),
    "R$": frozenset({"BRL"}),
    "\N{EURO SIGN}": frozenset({"EUR"}),
    "\N{POUND SIGN}": frozenset(["GBP", "EGP", "FKP", "GIP", "LBP", "SDG", "SHP", "SSP", "SYP"]),
    "\N{YEN SIGN}": frozenset({"JPY", "CNY"}),
    "\N{INDIAN RUPEE SIGN}": frozenset({"INR"}),
    "\N{WON SIGN}": frozenset({"KRW", "KPW"}),
    "\N{RUBLE SIGN}": frozenset({"RUB"}),
    "\N{TURKISH LIRA SIGN}": frozenset({"TRY"}),
    "\N{HRYVNIA SIGN}": frozenset({"UAH"}),
    "\N{DONG SIGN}": frozenset({"VND"}),
    "\N{THAI CURRENCY SYMBOL BAHT}": frozenset({"THB"}),
    "\N{NEW SHEQEL SIGN}": frozenset({"ILS"}),
    "\N{PESO SIGN}": frozenset({"PHP"}),
    "\N{NAIRA SIGN}": frozenset({"NGN"}),
    "KR": frozenset(["SEK", "NOK", "DKK", "ISK"]),
    "Z\N{LATIN CAPITAL LETTER L WITH STROKE}": frozenset({"PLN"}),
}
"""The currencies that a sign next to an amount may mean, by the sign in capitals."""


def agrees(mark: str, currency: str) -> bool:
    """Whether a sign or code next to an amount may mean a currency. An unknown sign does not."""
    return mark.upper() == currency or currency in SIGNS.get(mark.upper(), ())


def code_in(marks: tuple[str, ...]) -> str | None:
    """Returns the currency whose code is next to an amount, or None."""
    return next((mark.upper() for mark in marks if mark.upper() in DECIMALS), None)
