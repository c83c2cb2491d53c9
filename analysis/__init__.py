"""What it means, and shown: perception, content kept, semantic distance, verdict; figures and report only draw."""
