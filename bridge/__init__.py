"""The bridge from chargeback-alert webhooks to disputes in a 29next store."""

__version__ = "0.2.0"
