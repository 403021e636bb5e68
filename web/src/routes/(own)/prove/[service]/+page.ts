import { error } from '@sveltejs/kit'
import { SERVICES, type Service } from '#lib/prove.ts'

export const entries = () => SERVICES.map((service) => ({ service }))

export function load({ params }: { params: { service: string } }): { service: Service } {
  const service = SERVICES.find((name) => name === params.service)
  if (service === undefined) error(404)
  return { service }
}
