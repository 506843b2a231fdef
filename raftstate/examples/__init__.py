"""Programs that use the store as its users do: through the SDK and nothing deeper."""
