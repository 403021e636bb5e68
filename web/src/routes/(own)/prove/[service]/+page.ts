import { error } from '@sveltejs/kit'
import { SERVICES, type Service } from '#lib/prove.ts'
import { texts } from '#lib/text.ts'

export const entries = () => SERVICES.map((service) => ({ service }))

export async function load({ params, parent }: { params: { service: string }; parent: () => Promise<unknown> }): Promise<{ service: Service }> {
  const service = SERVICES.find((name) => name === params.service)
  if (service === undefined) error(404)
  await texts('own', 'prove')({ parent })
  return { service }
}
