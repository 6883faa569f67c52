"""The platform's components as a user meets them: provider, limits, data stores, another gateway in ours' place."""
