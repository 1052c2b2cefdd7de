"""An HTTP server that speaks the public REST API of Binance and Upbit."""
