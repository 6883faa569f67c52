"""Who reaches whom: exactly the call graphs' pairs, a provider's own policies, tenants and their tokens."""
