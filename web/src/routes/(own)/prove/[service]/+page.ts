import { SERVICES } from '#lib/prove.ts'

export const entries = () => SERVICES.map((service) => ({ service }))
